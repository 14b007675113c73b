// The function app: Flex Consumption, Python 3.13, one user-assigned identity, every setting that the code reads.

param name string
param planName string
param location string
param zoneRedundant bool
param tags object
param identityId string
param identityClientId string
param applicationInsightsConnectionString string
param blobEndpoint string
param queueEndpoint string
param deploymentContainerUrl string
@description('Subnet of the app; empty: no network integration.')
param subnetId string
param keyVaultUrl string
param instanceUrl string
param connections string
param grant string
param fallbackGrant string
param refreshTokenLifetime int
param jwt string
param publishTo string
param refreshSchedule string
param refreshIntervalMinutes int
param probePath string
param leaseContainerUrl string
param allowCustomHost bool
param refreshQueue string

resource plan 'Microsoft.Web/serverfarms@2025-03-01' = {
  name: planName
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    name: 'FC1'
    tier: 'FlexConsumption'
  }
  properties: {
    reserved: true
    zoneRedundant: zoneRedundant
  }
}

resource app 'Microsoft.Web/sites@2025-03-01' = {
  name: name
  location: location
  tags: union(tags, { 'azd-service-name': 'refresher' })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    // The keys of its functions guard it; on-call engineers reach it from where they are.
    publicNetworkAccess: 'Enabled'
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    // No more than this: Flex Consumption refuses a deployment (51021) over a property that it does not know, ftpsState among them.
    siteConfig: {
      minTlsVersion: '1.2'
      // The portal's Test/Run calls the functions from the browser.
      cors: {
        allowedOrigins: [environment().portal]
      }
    }
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: deploymentContainerUrl
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identityId
          }
        }
      }
      runtime: {
        name: 'python'
        version: '3.13'
      }
      scaleAndConcurrency: {
        // One instance serves hundreds of connections; more of them only where the queue spreads the work.
        maximumInstanceCount: 40
        instanceMemoryMB: 2048
      }
    }
  }
}

resource settings 'Microsoft.Web/sites/config@2025-03-01' = {
  parent: app
  name: 'appsettings'
  properties: {
    // Of the host: its storage and its telemetry, both as the identity.
    AzureWebJobsStorage__blobServiceUri: blobEndpoint
    AzureWebJobsStorage__queueServiceUri: queueEndpoint
    AzureWebJobsStorage__credential: 'managedidentity'
    AzureWebJobsStorage__clientId: identityClientId
    APPLICATIONINSIGHTS_CONNECTION_STRING: applicationInsightsConnectionString
    APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identityClientId};Authorization=AAD'
    // Of the build in Azure: compiled files that name their source by its hash outlive the packing, which loses dates.
    SOURCE_DATE_EPOCH: '315532800'
    // Of the SDK: which identity, and no look at any other credential.
    AZURE_CLIENT_ID: identityClientId
    AZURE_TOKEN_CREDENTIALS: 'ManagedIdentityCredential'
    // Of the product: docs/settings.md.
    KEY_VAULT_URL: keyVaultUrl
    SERVICENOW_INSTANCE_URL: instanceUrl
    SERVICENOW_CONNECTIONS: connections
    SERVICENOW_GRANT: grant
    SERVICENOW_FALLBACK_GRANT: fallbackGrant
    SERVICENOW_REFRESH_TOKEN_LIFETIME: string(refreshTokenLifetime)
    SERVICENOW_JWT: jwt
    PUBLISH_TO: publishTo
    REFRESH_SCHEDULE: refreshSchedule
    REFRESH_INTERVAL_MINUTES: string(refreshIntervalMinutes)
    PROBE_PATH: probePath
    LEASE_CONTAINER_URL: leaseContainerUrl
    SERVICENOW_ALLOW_CUSTOM_HOST: string(allowCustomHost)
    REFRESH_QUEUE: refreshQueue
  }
}

// No user name and password may deploy, neither by FTP nor by the deployment site.
resource ftpCredentials 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2025-03-01' = {
  parent: app
  name: 'ftp'
  properties: {
    allow: false
  }
}

resource scmCredentials 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2025-03-01' = {
  parent: app
  name: 'scm'
  properties: {
    allow: false
  }
}

output name string = app.name
output url string = 'https://${app.properties.defaultHostName}'
