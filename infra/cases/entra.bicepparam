// The app's own identity is the user: no OAuth application, and none of its secrets; beside it one that has them.
using '../main.bicep'

param environmentName = 'refresher'
param location = 'westeurope'
param principalId = '00000000-0000-0000-0000-00000000000a'
param connections = {
  assets: {
    instance_url: 'https://contoso.service-now.com'
    grant: 'entra_id'
    entra_scope: '00000000-0000-0000-0000-00000000000c/.default'
  }
  incidents: {
    instance_url: 'https://contoso.service-now.com'
    fallback_grant: 'entra_id'
    entra_scope: 'api://00000000-0000-0000-0000-00000000000c'
  }
}
