// The function app: Python 3.13 on Flex Consumption, or on a dedicated plan where there is none; one user-assigned identity, every setting that the code reads.

param name string
param planName string
param location string
param zoneRedundant bool
@allowed(['Dedicated', 'FlexConsumption'])
param hostingPlan string
param tags object
param identityId string
param identityClientId string
param applicationInsightsConnectionString string
param storageAccountName string
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
param entraScope string
param entraClientId string
param entraTenantId string
param jwt string
param publishTo string
param refreshSchedule string
param refreshIntervalMinutes int
param probePath string
param verifyIntervalMinutes string
param leaseContainerUrl string
param allowCustomHost bool
param refreshQueue string
@description('The timer fires no longer; calls and commands go on.')
param refreshPaused bool
@description('No public way to the functions.')
param privateDoor bool
@description('Addresses and ranges that may call the functions; none: all.')
param allowedAddresses array
@description('Application in whose name people sign in before they call; empty: the functions\' keys alone.')
param signInClientId string

var isFlex = hostingPlan == 'FlexConsumption'
// Of a site's configuration, Flex Consumption refuses what it does not know (51021), ftpsState among it.
var siteConfig = {
  minTlsVersion: '1.2'
  // The portal's Test/Run calls the functions from the browser.
  cors: {
    allowedOrigins: [environment().portal]
  }
}
var addressRules = empty(allowedAddresses)
  ? {}
  : {
      ipSecurityRestrictionsDefaultAction: 'Deny'
      ipSecurityRestrictions: map(range(0, length(allowedAddresses)), index => {
        name: 'allowed-${index}'
        priority: 100 + index
        action: 'Allow'
        ipAddress: contains(allowedAddresses[index], '/')
          ? allowedAddresses[index]
          : '${allowedAddresses[index]}/${contains(allowedAddresses[index], ':') ? 128 : 32}'
      })
    }
var dedicatedConfig = {
  alwaysOn: true
  ftpsState: 'Disabled'
  linuxFxVersion: 'Python|3.13'
  vnetRouteAllEnabled: !empty(subnetId)
}
var dedicatedSettings = {
  FUNCTIONS_EXTENSION_VERSION: '~4'
  FUNCTIONS_WORKER_RUNTIME: 'python'
  ENABLE_ORYX_BUILD: 'true'
  SCM_DO_BUILD_DURING_DEPLOYMENT: 'true'
}

resource plan 'Microsoft.Web/serverfarms@2025-03-01' = {
  name: planName
  location: location
  tags: tags
  kind: isFlex ? 'functionapp' : 'linux'
  sku: isFlex
    ? { name: 'FC1', tier: 'FlexConsumption' }
    : (zoneRedundant ? { name: 'P0v3', tier: 'Premium0V3' } : { name: 'B1', tier: 'Basic' })
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
    publicNetworkAccess: privateDoor ? 'Disabled' : 'Enabled'
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    siteConfig: union(siteConfig, addressRules, isFlex ? {} : dedicatedConfig)
    functionAppConfig: isFlex
      ? {
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
      : null
  }
}

resource settings 'Microsoft.Web/sites/config@2025-03-01' = {
  parent: app
  name: 'appsettings'
  properties: union(isFlex ? {} : dedicatedSettings, {
    // Of the host: its storage and its telemetry, both as the identity.
    AzureWebJobsStorage__accountName: storageAccountName
    AzureWebJobsStorage__blobServiceUri: blobEndpoint
    AzureWebJobsStorage__queueServiceUri: queueEndpoint
    AzureWebJobsStorage__credential: 'managedidentity'
    AzureWebJobsStorage__clientId: identityClientId
    APPLICATIONINSIGHTS_CONNECTION_STRING: applicationInsightsConnectionString
    APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identityClientId};Authorization=AAD'
    // By the name that docs/runbook/stop.md sets by hand.
    'AzureWebJobs.refresh_tokens.Disabled': string(refreshPaused)
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
    SERVICENOW_ENTRA_SCOPE: entraScope
    SERVICENOW_ENTRA_CLIENT_ID: entraClientId
    SERVICENOW_ENTRA_TENANT_ID: entraTenantId
    SERVICENOW_JWT: jwt
    PUBLISH_TO: publishTo
    REFRESH_SCHEDULE: refreshSchedule
    REFRESH_INTERVAL_MINUTES: string(refreshIntervalMinutes)
    PROBE_PATH: probePath
    VERIFY_INTERVAL_MINUTES: verifyIntervalMinutes
    LEASE_CONTAINER_URL: leaseContainerUrl
    SERVICENOW_ALLOW_CUSTOM_HOST: string(allowCustomHost)
    REFRESH_QUEUE: refreshQueue
  })
}

// Who calls is known then: the platform tells the app, and the record of a forced run names the person.
resource signIn 'Microsoft.Web/sites/config@2025-03-01' = if (!empty(signInClientId)) {
  parent: app
  name: 'authsettingsV2'
  properties: {
    globalValidation: {
      requireAuthentication: true
      unauthenticatedClientAction: 'Return401'
    }
    identityProviders: {
      azureActiveDirectory: {
        enabled: true
        registration: {
          clientId: signInClientId
          openIdIssuer: '${environment().authentication.loginEndpoint}${tenant().tenantId}/v2.0'
        }
        validation: {
          allowedAudiences: ['api://${signInClientId}', signInClientId]
        }
      }
    }
    platform: {
      enabled: true
    }
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

output id string = app.id
output name string = app.name
output hostName string = app.properties.defaultHostName
output url string = 'https://${app.properties.defaultHostName}'
