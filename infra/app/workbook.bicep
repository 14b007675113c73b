// The workbook of infra/workbook.json, beside the workspace that it reads.

param location string
param tags object
param workspaceId string
param componentId string

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(resourceGroup().id, 'servicenow-token-refresher')
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    category: 'workbook'
    displayName: 'ServiceNow token refresher'
    serializedData: replace(loadTextContent('../workbook.json'), '{component}', componentId)
    sourceId: workspaceId
    version: '1.0'
  }
}
